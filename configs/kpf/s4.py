_base_ = ['../_base_/datasets/s4_clips.py', '../_base_/coprop_scores.py', '../_base_/runtime.py']
model = dict(
    type='AdapterModel',
    adapter=dict(
        type='KpfAdapter',
        checkpoint='checkpoints/kpf_s4.safetensors',
        audio_checkpoint='checkpoints/vggish.pth'))
