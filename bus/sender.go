package bus

import (
	"context"

	"github.com/tropocloud/tropo/fault"
)

type senderKey struct{}

// WithSender tells a handler which node sent what it handles; "" changes
// nothing.
func WithSender(ctx context.Context, node string) context.Context {
	if node == "" {
		return ctx
	}
	return context.WithValue(ctx, senderKey{}, node)
}

// Own makes a handler of messages in which a host speaks of itself: where the
// bus knows the sender, and that is another host, the message is
// fault.Forbidden. A node that was broken into cannot speak for others then.
func Own[T, U any](host func(T) string, f func(ctx context.Context, in T) (U, error)) func(ctx context.Context, in T) (U, error) {
	return func(ctx context.Context, in T) (U, error) {
		if from, known := ctx.Value(senderKey{}).(string); known && from != host(in) {
			var none U
			return none, fault.Forbiddenf("The node %s speaks for %s.", from, host(in))
		}
		return f(ctx, in)
	}
}
