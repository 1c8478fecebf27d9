_base_ = ['../_base_/datasets/moc_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='TpaviAdapter',
        variant='pvt_v2_b5-ms3',
        checkpoint='checkpoints/tpavi_ms3.pth',
        audio_checkpoint='checkpoints/vggish.pth'))
