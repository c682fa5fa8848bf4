"""What OpenMMLab's packages need on a CPU, under current libraries and beside each other."""
