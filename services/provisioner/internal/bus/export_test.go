package bus

import "context"

// Suspects is suspects, for its test.
type Suspects struct{ suspects }

// Enter is enter.
func (s *Suspects) Enter(ctx context.Context, sequence, delivered uint64) (leave func()) {
	return s.enter(ctx, sequence, delivered)
}

// Reconnected reports whether its connection was made again.
func (b *Bus) Reconnected() bool { return b.conn.IsConnected() && b.conn.Stats().Reconnects > 0 }
