"""Data sets in the form of mmpretrain's."""
