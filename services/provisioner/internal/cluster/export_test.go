package cluster

// WaitingLooks is how many pods' looks wait for a LIST that has not begun.
func (c *Cluster) WaitingLooks() (n int) {
	c.podLooks.mu.Lock()
	defer c.podLooks.mu.Unlock()
	for _, k := range c.podLooks.waiting {
		n += len(k.records)
	}
	return n
}
