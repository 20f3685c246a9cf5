"""What comes from outside, mutated: requests, hosts' answers, policies, configuration, and values of the store."""
