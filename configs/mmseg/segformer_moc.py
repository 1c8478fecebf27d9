_base_ = './segformer_ms3.py'
test_dataloader = dict(dataset=dict(videos='moc', semantic_root='data/AVSBench'))
