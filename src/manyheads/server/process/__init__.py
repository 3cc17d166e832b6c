"""Processes: listening, stopping, several workers, and what they tell each other.

Each process runs granian's server for one application. granian's own server for several processes would replace the
processes to reload a model. That needs a second interpreter beside each first one, and drops connections that wait for
the process that ends. Here a process loads the newer model beside the old one and exchanges them between two
batches. The process above the workers has no model and no torch.
"""
