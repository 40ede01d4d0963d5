// Package doctor finds what is broken in a cloud although nobody is at work on
// it: what another tool or a person changed behind the services' backs, and
// what a fault left behind. Services bring checks of what they own; the engine
// runs them, looks twice before it believes, and heals what is provably safe
// to heal.
//
// Three rules keep it from doing harm. What cannot be asked (a host without a
// sign of life, a service that does not answer) is "not checked" and never
// "missing". Work under way is no finding: what a saga works on is left out,
// and a finding must survive a second look after a pause. And before it heals,
// the engine looks a third time and the check itself changes things only where
// they are still as found.
package doctor
