_base_ = ['../_base_/datasets/avss_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='AVSegFormerAdapter',
        variant='pvt_v2_b5-avss',
        checkpoint='checkpoints/avsegformer_avss.pth'))
