# AVSBench S4 (single source), a whole clip a sample: for audio-visual models. Label 0 is the background.
data_root = 'data/AVSBench'
pipeline = [
    dict(type='LoadClip'),
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
        layout='s4',
        split='val',
        unit='clip',
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
        unit='clip',
        pipeline=pipeline))
val_evaluator = [
    dict(type='AVSMetric', protocol='avsbench', detail='headline'),
    dict(type='AlignmentMetric', detail='headline'),
]
test_evaluator = val_evaluator
