"""What the method needs of masks: probabilities, labels, areas and specks, sizes, palettes."""
