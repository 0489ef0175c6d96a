module github.com/sandbar-io/sandbar/tools

go 1.26.0

require (
	github.com/sandbar-io/sandbar/pkg v0.0.0
	github.com/sandbar-io/sandbar/services/gateway v0.0.0
	github.com/sandbar-io/sandbar/services/provisioner v0.0.0
	github.com/sandbar-io/sandbar/services/router v0.0.0
	github.com/sandbar-io/sandbar/services/watcher v0.0.0
)

require (
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/coder/websocket v1.8.15 // indirect
	github.com/google/go-containerregistry v0.22.1 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/miekg/dns v1.1.73 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nats-server/v2 v2.15.2 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/vishvananda/netlink v1.3.1 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	go.uber.org/multierr v1.10.0 // indirect
	go.uber.org/zap v1.28.0 // indirect
	go.yaml.in/yaml/v2 v2.4.4 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	k8s.io/api v0.37.2 // indirect
	k8s.io/apimachinery v0.37.2 // indirect
	k8s.io/client-go v0.37.2 // indirect
	sigs.k8s.io/yaml v1.6.0 // indirect
)

replace github.com/sandbar-io/sandbar/pkg => ../pkg

replace github.com/sandbar-io/sandbar/services/gateway => ../services/gateway

replace github.com/sandbar-io/sandbar/services/provisioner => ../services/provisioner

replace github.com/sandbar-io/sandbar/services/watcher => ../services/watcher

replace github.com/sandbar-io/sandbar/services/router => ../services/router
