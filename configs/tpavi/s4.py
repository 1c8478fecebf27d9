_base_ = ['../_base_/datasets/s4_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='TpaviAdapter',
        variant='pvt_v2_b5-s4',
        checkpoint='checkpoints/tpavi_s4.pth',
        audio_checkpoint='checkpoints/vggish.pth'))
