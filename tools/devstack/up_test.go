package main

import "testing"

// Instances stand side by side: no port of one is another's.
func TestPortsOfInstances(t *testing.T) {
	t.Parallel()
	const most = 8 // gateways, and routers
	taken := map[int]int{}
	take := func(port, instance int) {
		if other, ok := taken[port]; ok {
			t.Errorf("port %d is of instance %d and of %d", port, other, instance)
		}
		taken[port] = instance
	}
	for instance := range 10 {
		api, router, nats := portsOf(instance)
		take(nats, instance)
		for i := range most {
			take(api+i, instance)
			take(router+i, instance)
		}
	}
}
