//! A package index on this machine, by the simple repository API.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use sha2::{Digest as _, Sha256};

/// Serves the archives, by name and content, as releases of package `foo`. Returns the index's address.
pub(crate) fn serve(archives: Vec<(String, Vec<u8>)>) -> String {
    let links = archives.iter().map(|(name, content)| {
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(content));
        format!("<a href=\"../../files/{name}#sha256={hash}\">{name}</a>\n")
    });
    let page: String = links.collect();
    serve_page(page, archives)
}

/// The same, with a page of its own.
pub(crate) fn serve_page(page: String, archives: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // It ends with the process of the tests.
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let _ = answer(connection, &page, &archives);
        }
    });
    format!("http://{address}/simple")
}

fn answer(
    mut connection: TcpStream,
    page: &str,
    archives: &[(String, Vec<u8>)],
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match connection.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend(&buffer[..length]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let found = if path == "/simple/foo/" {
        Some(page.as_bytes())
    } else {
        let name = path.strip_prefix("/files/");
        let archive = archives
            .iter()
            .find(|(known, _)| Some(known.as_str()) == name);
        archive.map(|(_, content)| content.as_slice())
    };
    let (status, content) = found.map_or(("404 Not Found", &[][..]), |content| ("200 OK", content));
    let head = format!(
        "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(content)
}
