# A model of mmsegmentation on single frames of MS3: `coprop train mmseg/segformer_ms3.py`, or its own tools/train.py.
_base_ = [
    'mmseg::_base_/models/segformer_mit-b0.py',
    'mmseg::_base_/schedules/schedule_20k.py',
    'mmseg::_base_/default_runtime.py',
    '../_base_/datasets/ms3_frames.py',
    '../_base_/coprop.py',
] if __import__('coprop_plugin') else []
model = dict(
    data_preprocessor=dict(size=(224, 224)),
    decode_head=dict(num_classes=2))
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=6e-5, weight_decay=0.01))
default_hooks = dict(checkpoint=dict(save_best='coprop/mIoU', max_keep_ckpts=1))
