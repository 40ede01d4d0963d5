// Package app is the one place that knows everything: the table of parts, what
// each needs, the order of their life, the state folder and the listeners.
package app
