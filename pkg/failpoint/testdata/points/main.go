// Command points hits the points that its arguments name, and says so.
package main

import (
	"fmt"
	"os"

	"github.com/sandbar-io/sandbar/pkg/failpoint"
)

func main() {
	for _, point := range os.Args[1:] {
		failpoint.Hit(point)
		fmt.Println(point)
	}
}
