# AVSBench MS3 (multiple sources), a frame a sample: for models of mmseg. Label 0 is the background.
data_root = 'data/AVSBench'
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAVSMasks'),
    dict(type='PackAVSInputs'),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type='VideoSampler'),
    dataset=dict(
        type='AVSBenchDataset',
        data_root=data_root,
        layout='ms3',
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
        layout='ms3',
        split='test',
        unit='frame',
        pipeline=pipeline))
val_evaluator = [dict(type='AVSMetric', protocol='avsbench'), dict(type='AlignmentMetric')]
test_evaluator = [dict(type='AVSMetric', protocol='avsbench'), dict(type='AlignmentMetric')]
