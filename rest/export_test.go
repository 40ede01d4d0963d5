package rest

import "time"

// Hold sets how long a process that is not heard of keeps a key.
func (o *Once) Hold(d time.Duration) { o.held = d }

// Bound sets how many bytes are kept for a user.
func (o *Once) Bound(most int) { o.most = most }
