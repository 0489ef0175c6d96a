// Command etcd is the etcd server, built from its Go module. It has a module of
// its own because etcd's replace directives must not reach the services.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
