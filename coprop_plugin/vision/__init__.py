"""What networks of ImageNet see: its classes, in whole pictures, in crops and at places; what of them can be heard."""
