"""Datasets in mmpretrain's form."""
