"""`imsvd-plugins benchmark`: what each loss costs, measured in processes of its own."""
