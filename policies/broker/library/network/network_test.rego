package broker.library.network_test

import data.broker.exchange.fixture_test as fixture
import data.broker.library.network

_parameters := {"network": {"office": ["192.0.2.0/25", "2001:db8:1::/48"], "none": []}}

_within(name, source) if {
	network.within(name) with input as fixture.changed("/request/source", source)
		with data.broker.parameters as _parameters
}

test_every_address_of_a_network_is_within if {
	every source in ["192.0.2.0", "192.0.2.127", "2001:db8:1:ffff::1"] {
		_within("office", source)
	}
}

test_no_other_address_is if {
	every source in ["192.0.2.128", "192.0.1.255", "2001:db8:2::1", "::1"] {
		not _within("office", source)
	}
}

test_what_is_no_address_is_not_within if {
	every source in ["", "192.0.2", "192.0.2.1.", "office", "0x0a.0.0.1", "192.0.2.1,192.0.2.2"] {
		not _within("office", source)
	}
}

test_nothing_is_within_a_zone_without_networks_or_without_name if {
	not _within("none", "192.0.2.1")
	not _within("offices", "192.0.2.1")
}

test_a_zone_that_is_no_network_holds_nothing[zone] if {
	some zone in ["192.0.2.0/33", "192.0.2", "", "everywhere", "/0"]
	not network.within("w") with input as fixture.good with data.broker.parameters as {"network": {"w": [zone]}}
}

test_a_zone_of_another_type_holds_nothing if {
	every zone in [null, 0, true, {}, []] {
		not network.within("w") with input as fixture.good with data.broker.parameters as {"network": {"w": [zone]}}
	}
}

test_a_source_that_is_missing_or_no_text_is_not_within if {
	every given in fixture.broken("/request/source", {"string"}) {
		not network.within("office") with input as given with data.broker.parameters as _parameters
	}
}
