# For models that are adapters; with a model of mmseg inherit 'mmseg::_base_/default_runtime.py' instead.
default_scope = 'coprop_plugin'
default_hooks = dict(logger=dict(type='LoggerHook', interval=50))
env_cfg = dict(mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0), dist_cfg=dict(backend='nccl'))
log_level = 'INFO'
load_from = None
visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
test_cfg = dict(type='TestLoop')
val_cfg = dict(type='ValLoop')
