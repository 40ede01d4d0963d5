package api

import (
	"slices"

	"github.com/tropocloud/tropo/rest"
)

// routes is the table of the service.
func (a *API) routes() []rest.Route {
	return slices.Concat(a.authRoutes(), a.userRoutes(), a.projectRoutes(), a.roleRoutes(), a.grantRoutes(), a.assignmentRoutes(), a.catalogRoutes(),
		a.appCredentialRoutes(), a.trustRoutes(), a.credentialRoutes(), a.endpointFilterRoutes(), a.policyRoutes(), a.limitRoutes(), a.domainConfigRoutes(), a.oauth1Routes(), a.federationRoutes(), a.oauth2Routes(), a.webssoRoutes(), a.samlRoutes(),
		a.homeRoutes())
}
