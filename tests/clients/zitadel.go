// One exchange with the client of zitadel/oidc, from discovery on. Asked on standard input,
// answered on output.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/client/tokenexchange"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

type asked struct {
	Issuer string
	Client struct {
		ID, Method, Secret string
		Key                jose.JSONWebKey
	}
	Parameters [][2]string
}

// loopback stands in for what a deployment has in front of the broker: a name, and TLS for it.
type loopback struct{ issuer, here string }

func (l loopback) RoundTrip(request *http.Request) (*http.Response, error) {
	address, err := url.Parse(strings.Replace(request.URL.String(), l.issuer, l.here, 1))
	if err != nil {
		return nil, err
	}
	request = request.Clone(request.Context())
	request.URL, request.Host = address, ""
	return http.DefaultTransport.RoundTrip(request)
}

func main() {
	var a asked
	if err := json.NewDecoder(os.Stdin).Decode(&a); err != nil {
		log.Fatal(err)
	}
	answer, err := exchange(context.Background(), a)
	var refused *oidc.Error
	if errors.As(err, &refused) {
		answer = map[string]any{"refusal": map[string]any{
			"raised":            "oidc.Error",
			"error":             refused.ErrorType,
			"error_description": refused.Description,
		}}
	} else if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}

func exchange(ctx context.Context, a asked) (any, error) {
	issuer, clientID, secret := a.Issuer, a.Client.ID, a.Client.Secret
	here := tokenexchange.WithHTTPClient(&http.Client{
		Transport: loopback{os.Getenv("BROKER_ISSUER"), os.Getenv("BROKER_URL")},
	})
	var exchanger tokenexchange.TokenExchanger
	var err error
	if a.Client.Method == "private_key_jwt" {
		key := jose.SigningKey{Algorithm: jose.ES256, Key: a.Client.Key}
		var signer jose.Signer
		if signer, err = jose.NewSigner(key, nil); err != nil {
			return nil, err
		}
		exchanger, err = tokenexchange.NewTokenExchangerJWTProfile(ctx, issuer, clientID, signer, here)
	} else {
		exchanger, err = tokenexchange.NewTokenExchangerClientCredentials(ctx, issuer, clientID, secret, here)
	}
	if err != nil {
		return nil, err
	}
	values := map[string][]string{}
	for _, pair := range a.Parameters {
		values[pair[0]] = append(values[pair[0]], pair[1])
	}
	first := func(name string) string { return strings.Join(values[name], " ") }
	token, err := tokenexchange.ExchangeToken(
		ctx,
		exchanger,
		first("subject_token"), oidc.TokenType(first("subject_token_type")),
		first("actor_token"), oidc.TokenType(first("actor_token_type")),
		values["resource"],
		values["audience"],
		strings.Fields(first("scope")),
		oidc.TokenType(first("requested_token_type")),
	)
	return map[string]any{"token": token}, err
}
