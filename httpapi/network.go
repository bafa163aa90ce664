package httpapi

import (
	"context"
	"io"
)

// Network is the part of a node that is in a network of several. Every method
// may be called at the same time, ends with its context, and returns errors that
// wrap the sentinels of this package. A change is brought to the leader, wherever
// it is: an error but ErrNoLeader and ErrNoQuorum means that nothing was changed.
type Network interface {
	// Members tells who is in the network. It returns at once.
	Members() (Members, error)
	// Health returns the leader's judgement, or without one what this node knows.
	Health(ctx context.Context) (Health, error)
	// RemoveMember removes a node that is dead, by its name or id. ErrConflict
	// when it is alive, ErrQuorumRisk when the others would have no majority.
	RemoveMember(ctx context.Context, node string) error

	// PutCluster makes or changes a cluster.
	PutCluster(ctx context.Context, name string, spec ClusterSpec) error
	// DeleteCluster removes one without collectors; ErrConflict with them.
	DeleteCluster(ctx context.Context, name string) error
	// PutCollector registers a collector, and gives it a port if it has none.
	PutCollector(ctx context.Context, cluster, id string, reg Registration) (Registered, error)
	// DeleteCollector takes a collector out of the table.
	DeleteCollector(ctx context.Context, cluster, id string) error
	// DrainCollector has a collector get nothing new, or again something.
	DrainCollector(ctx context.Context, cluster, id string, drain bool) error

	// Register takes a registration, or heartbeat, of the original's collector.
	Register(ctx context.Context, o OriginalRegistration) (Registered, error)
	// Unregister removes a collector by its id, as the original does.
	Unregister(ctx context.Context, id string) error

	// TransferLeadership hands the leadership to a node, by name or id, or to
	// whichever is the best for an empty name.
	TransferLeadership(ctx context.Context, to string) error
	// Leave takes this node out of the network for good. It then stops.
	Leave(ctx context.Context) error

	// SaveSnapshot writes the network's state to w. Once something was written an
	// error means that it is worth nothing.
	SaveSnapshot(ctx context.Context, w io.Writer) error
	// LoadSnapshot replaces the network's state by what r holds. ErrWrongNetwork
	// for one of another network, unless force is set; ErrBadSnapshot.
	LoadSnapshot(ctx context.Context, r io.Reader, force bool) error

	// Probe answers a node that would form a network with this one.
	Probe(ctx context.Context, q Probe) (ProbeAnswer, error)
	// Confirm returns nil when the table that Reporter tells from now on has every
	// change that was acknowledged before.
	Confirm(ctx context.Context) error
}
