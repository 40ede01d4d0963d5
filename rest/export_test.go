package rest

import "time"

// Hold sets how long a process that is not heard of keeps a key.
func (o *Once) Hold(d time.Duration) { o.held = d }
