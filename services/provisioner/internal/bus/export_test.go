package bus

import "context"

// Suspects is suspects, for its test.
type Suspects struct{ suspects }

// Enter is enter.
func (s *Suspects) Enter(ctx context.Context, sequence, delivered uint64) (leave func()) {
	return s.enter(ctx, sequence, delivered)
}
