//! What the operator decides for all gateways. Touches nothing.

use paddock_policy::image::{ImageError, ImagePolicy, ImageReference};
use paddock_reconcile::Settings;

use super::intent::Rules;
use super::network::{Egress, PodsOf};
use super::version::GatewayVersion;
use super::waves::RolloutPolicy;

/// What the operator decides for all gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The control plane's namespace: `platform-config`, its status and the authorities live there.
    pub namespace: String,
    /// The rules that entries are judged by.
    pub rules: Rules,
    /// The ingress controller's pods, which may reach gateways.
    pub ingress: Option<PodsOf>,
    /// The monitoring system's pods, which may read gateways' metrics.
    pub monitoring: Option<PodsOf>,
    /// Where gateways may connect to; `None` for anywhere.
    pub egress: Option<Egress>,
    /// Whether what an earlier provisioner left (`managed-by: agent-control-plane`), and Secrets that OpenShell's own generator
    /// made, become ours.
    pub adopt: bool,
    /// Whether gateways are asked if they serve; `false` where this process cannot reach their Services.
    pub probe: bool,
    /// How changes of the platform reach gateways.
    pub rollout: RolloutPolicy,
    /// How gateways are worked on.
    pub run: Settings,
}

impl Options {
    /// The defaults for a control plane in `namespace`: every fully qualified image is allowed, `image` (else the gateway
    /// release that this build knows best) serves entries that name none, nobody else reaches the gateways.
    ///
    /// # Errors
    /// When `image` is no image reference, is not fully qualified, or does not tell its version.
    pub fn new(namespace: impl Into<String>, image: Option<&str>) -> Result<Self, OptionsError> {
        let release = || format!("ghcr.io/nvidia/openshell/gateway:{}", GatewayVersion::DEFAULT);
        let text = image.map_or_else(release, str::to_owned);
        let default_image: ImageReference = text.parse()?;
        ImagePolicy::default().check(&default_image)?;
        if default_image.tag().and_then(|tag| tag.parse::<GatewayVersion>().ok()).is_none() {
            return Err(OptionsError::Version(text));
        }
        Ok(Self {
            namespace: namespace.into(),
            rules: Rules::new(default_image),
            ingress: None,
            monitoring: None,
            egress: None,
            adopt: false,
            probe: true,
            rollout: RolloutPolicy::default(),
            run: Settings::default(),
        })
    }

    /// Chooses the image of sandboxes that name none. It is held to digests and tags as the operator wants them, because
    /// otherwise every sandbox would be an exception; where it comes from is the operator's own choice.
    ///
    /// # Errors
    /// When it is no image reference, or not one that the rules let run.
    pub fn choose_sandbox_image(&mut self, image: &str) -> Result<(), OptionsError> {
        let image: ImageReference = image.parse()?;
        ImagePolicy { allowed: Vec::new(), ..self.rules.images.clone() }.check(&image)?;
        self.rules.sandbox_image = Some(image);
        Ok(())
    }
}

/// Why [`Options`] cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// The image is none, or may not run.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The image's tag is no version, so nobody knows what its gateway understands.
    #[error("the gateway's version cannot be told from {0}; use a version tag")]
    Version(String),
}
