"""`imsvd-plugins benchmark`: what each loss costs, side by side, each in processes of its own."""
