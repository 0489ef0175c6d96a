package reach

import "net"

// Resolve has names asked of another resolver than the system's.
func (c *Client) Resolve(r *net.Resolver) { c.dialer.Resolver = r }
