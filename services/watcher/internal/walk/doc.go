// Package walk holds a test only: at every point between two side effects of the
// watcher it dies, hangs, or loses the answer, and all ends as if it had not.
package walk
