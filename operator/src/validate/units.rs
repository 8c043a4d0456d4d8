//! Counts and sizes with their unit in the type.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// Concurrent viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Viewers(pub u32);

/// Replicas of a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replicas(pub u32);

impl Replicas {
    /// As the Kubernetes API writes it. Counts beyond `i32` do not pass validation.
    #[must_use]
    pub fn as_i32(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

/// Thousandths of a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millicores(pub u32);

impl Millicores {
    /// In the canonical form the API server would also give.
    #[must_use]
    pub fn quantity(self) -> Quantity {
        if self.0.is_multiple_of(1000) {
            Quantity((self.0 / 1000).to_string())
        } else {
            Quantity(format!("{}m", self.0))
        }
    }
}

/// Mebibytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mebibytes(pub u32);

impl Mebibytes {
    /// In the canonical form the API server would also give.
    #[must_use]
    pub fn quantity(self) -> Quantity {
        if self.0 >= 1024 && self.0.is_multiple_of(1024) {
            Quantity(format!("{}Gi", self.0 / 1024))
        } else {
            Quantity(format!("{}Mi", self.0))
        }
    }
}

/// Megabits a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MegabitsPerSecond(pub u32);

impl MegabitsPerSecond {
    /// As the bandwidth annotation takes it: bits a second.
    #[must_use]
    pub fn annotation(self) -> String {
        format!("{}M", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_canonical() {
        assert_eq!(Millicores(250).quantity().0, "250m");
        assert_eq!(Millicores(2000).quantity().0, "2");
        assert_eq!(Mebibytes(512).quantity().0, "512Mi");
        assert_eq!(Mebibytes(2048).quantity().0, "2Gi");
        assert_eq!(MegabitsPerSecond(40).annotation(), "40M");
    }
}
