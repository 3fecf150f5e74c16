//! A Kubernetes API on this machine: `cargo run -p paddock-apiserver --example serve -- 127.0.0.1:6443 kubeconfig.yaml`.
//!
//! Keeps everything in memory, keys in `./pki`; ends with Ctrl-C.

use std::path::Path;

use paddock_apiserver::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:6443".to_owned()).parse()?;
    let kubeconfig = arguments.next().unwrap_or_else(|| "kubeconfig.yaml".to_owned());
    let server = Server::builder().listen(address).in_memory().pki_dir("pki").start().await?;
    server.write_kubeconfig(Path::new(&kubeconfig))?;
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
