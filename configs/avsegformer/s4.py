_base_ = ['../_base_/datasets/s4_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='AVSegFormerAdapter',
        variant='pvt_v2_b5-s4',
        checkpoint='checkpoints/avsegformer_s4.pth'))
