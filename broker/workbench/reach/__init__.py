"""What can be had from here in a few exchanges: each token becomes the subject of the next one."""
