"""What OpenMMLab's packages need on a CPU, with current libraries, and when they are installed over each other."""
