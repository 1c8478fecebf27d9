_base_ = ['../_base_/datasets/avss_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='AavsAdapter',
        checkpoint='checkpoints/aavs_stage2.pth',
        first_stage='checkpoints/aavs_stage1.pth',
        audio_checkpoint='checkpoints/vggish.pth'))
