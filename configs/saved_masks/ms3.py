_base_ = ['../_base_/datasets/ms3_clips.py', '../_base_/coprop.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='SavedMasks',
        path='predictions/ms3'))
