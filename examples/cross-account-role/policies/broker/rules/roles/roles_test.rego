package broker.rules.roles_test

import data.broker.rules.roles

_trusts := {"account-data": {"build": ["role.reader", "role.operator"], "web": ["role.reader"]}}

_step_up := {"step_up": {"operator": {"amr": ["mfa"]}}}

_said(target, claims, asked) := found if {
	found := roles.deny with input as {
		"request": {"targets": [{"name": target}]},
		"subject": {"claims": claims},
	}
		with data.broker.trusts as _trusts
		with data.broker.parameters as _step_up
		with data.broker.exchange.scopes.granted as asked
}

_denied := {"policy.denied"}

test_a_role_that_the_account_trusts_with if {
	_said("account-data", {"account": "web"}, {"role.reader"}) == set()
}

test_a_role_that_it_does_not if {
	_said("account-data", {"account": "web", "amr": ["mfa"]}, {"role.operator"}) == _denied
}

test_an_account_that_it_does_not_know if {
	_said("account-data", {"account": "finance"}, {"role.reader"}) == _denied
}

test_an_account_that_trusts_nobody if {
	_said("account-payroll", {"account": "build"}, {"role.reader"}) == _denied
}

test_an_operator_has_a_second_factor if {
	_said("account-data", {"account": "build", "amr": ["mfa"]}, {"role.operator"}) == set()
	_said("account-data", {"account": "build", "amr": ["pwd"]}, {"role.operator"}) == _denied
}

test_what_is_not_said_is_denied if {
	_said("account-data", {}, {"role.reader"}) == _denied
	_said("account-data", {"account": null}, {"role.reader"}) == _denied
	roles.deny == _denied with input as {}
}
