//! Orders and their states.
//!
//! ```text
//! received ─▶ confirmed ─▶ preparing ─▶ out_for_delivery ─▶ delivered
//!     └───────────┴────────────┴───────────────┴──▶ cancelled
//! ```

use serde::{Deserialize, Serialize};

/// How far an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// The customer has placed it.
    Received,
    /// The kitchen has seen it and will make it.
    Confirmed,
    /// It is being made.
    Preparing,
    /// It is on its way.
    OutForDelivery,
    /// The customer has it.
    Delivered,
    /// Nobody gets it.
    Cancelled,
}

impl OrderState {
    /// All of them, in the order in which an order goes through them.
    pub const ALL: [Self; 6] = [
        Self::Received,
        Self::Confirmed,
        Self::Preparing,
        Self::OutForDelivery,
        Self::Delivered,
        Self::Cancelled,
    ];

    /// As it stands in the database and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Confirmed => "confirmed",
            Self::Preparing => "preparing",
            Self::OutForDelivery => "out_for_delivery",
            Self::Delivered => "delivered",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Where it goes if all is well.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Received => Some(Self::Confirmed),
            Self::Confirmed => Some(Self::Preparing),
            Self::Preparing => Some(Self::OutForDelivery),
            Self::OutForDelivery => Some(Self::Delivered),
            Self::Delivered | Self::Cancelled => None,
        }
    }

    /// Whether nothing more will happen to it.
    pub fn is_final(self) -> bool {
        self.next().is_none()
    }

    /// Whether the kitchen may move an order from here to there.
    pub fn may_become(self, other: Self) -> bool {
        self.next() == Some(other) || (other == Self::Cancelled && !self.is_final())
    }

    /// Whether the customer may still cancel it alone. Later, somebody has to be called.
    pub fn customer_may_cancel(self) -> bool {
        matches!(self, Self::Received | Self::Confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_name_by_which_it_is_found_again() {
        for state in OrderState::ALL {
            assert_eq!(OrderState::from_name(state.name()), Some(state));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(json, format!("\"{}\"", state.name()));
        }
        assert_eq!(OrderState::from_name("eaten"), None);
    }

    #[test]
    fn an_order_goes_forward_one_step_at_a_time_or_is_cancelled() {
        use OrderState::{Cancelled, Delivered};
        for (index, from) in OrderState::ALL.into_iter().enumerate() {
            for (other, to) in OrderState::ALL.into_iter().enumerate() {
                let over = [Delivered, Cancelled].contains(&from);
                let allowed = !over && (to == Cancelled || other == index + 1);
                assert_eq!(from.may_become(to), allowed, "{from:?} to {to:?}");
            }
        }
    }
}
