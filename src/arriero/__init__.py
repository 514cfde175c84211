"""arriero drives Llama 3.x models through tool-using work on your own machine."""
