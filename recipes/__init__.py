"""More scripts of the form of train_cifar10.py, one for each system: python -m recipes.NAME."""
