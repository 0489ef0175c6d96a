// Package deploytest proves deploy/: its manifests, filled in as deploy/README.md
// says, run the services as pods, and clients reach them by their Services.
//
// It needs the testbed, `devstack testbed up`, whose env file SANDBAR_ENV names;
// `make test` does both.
package deploytest
