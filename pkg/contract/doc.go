// Package contract is what the services say to each other on the bus: subjects,
// stream and bucket names, headers, messages and their codec. It knows no NATS
// client. All names stand in subjects.go.
package contract
