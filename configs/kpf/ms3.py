_base_ = ['../_base_/datasets/ms3_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='KpfAdapter',
        checkpoint='checkpoints/kpf_ms3.safetensors',
        audio_checkpoint='checkpoints/vggish.pth'))
