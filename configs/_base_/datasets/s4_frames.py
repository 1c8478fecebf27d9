# AVSBench S4 (single source), a frame a sample: for models of mmseg. Label 0 is the background.
data_root = 'data/AVSBench'
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAVSMasks'),
    dict(type='PackAVSInputs'),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAVSMasks'),
    dict(type='RandomResize', scale=(224, 224), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='mmseg.RandomCrop', crop_size=(224, 224), cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmseg.PhotoMetricDistortion'),
    dict(type='PackAVSInputs'),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='AVSBenchDataset',
        data_root=data_root,
        layout='s4',
        split='train',
        unit='frame',
        frames='labelled',
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='VideoSampler'),
    dataset=dict(
        type='AVSBenchDataset',
        data_root=data_root,
        layout='s4',
        split='val',
        unit='frame',
        pipeline=pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='VideoSampler'),
    dataset=dict(
        type='AVSBenchDataset',
        data_root=data_root,
        layout='s4',
        split='test',
        unit='frame',
        pipeline=pipeline))
val_evaluator = [
    dict(type='mmseg.IoUMetric', iou_metrics=['mIoU', 'mFscore']),
    dict(type='AVSMetric', protocol='avsbench', detail='headline'),
    dict(type='AlignmentMetric', detail='headline'),
]
test_evaluator = val_evaluator
