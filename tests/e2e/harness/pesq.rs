//! Ears that judge as people do: PESQ (ITU-T P.862), by the package `pesq` of PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::lab::Lab;
use super::sound::Sound;

/// Prints the MOS-LQO of the second file against the first, both of 16-bit PCM and one channel.
const SCRIPT: &str = "
import sys, wave
import numpy
from pesq import pesq

def samples(path):
    with wave.open(path) as file:
        return file.getframerate(), numpy.frombuffer(file.readframes(file.getnframes()), numpy.int16)

(rate, said), (_, heard) = map(samples, sys.argv[1:])
print(pesq(rate, said, heard, 'nb' if rate == 8000 else 'wb'))
";

/// How good what was heard is, from 1 for bad to 4.5 for flawless, and 4.6 in wide band. Narrow band at 8 kHz, wide
/// band at 16 kHz; both sounds at the same rate, some seconds of speech.
pub fn pesq(lab: &Lab, said: &Sound, heard: &Sound) -> f64 {
    assert!([8000, 16_000].contains(&said.rate) && said.rate == heard.rate, "PESQ wants 8 or 16 kHz");
    let (reference, degraded) = (lab.fresh("pesq-said", "wav"), lab.fresh("pesq-heard", "wav"));
    said.write(&reference, 1);
    heard.write(&degraded, 1);
    let python = python();
    let run = Command::new(&python).args(["-c", SCRIPT]).args([&reference, &degraded]).output();
    let output = match run {
        Ok(output) => output,
        Err(error) => panic!("{} does not start ({error}): run scripts/need test", python.display()),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(score) if output.status.success() => score,
        _ => panic!("PESQ gave no score: {text}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// The Python that scripts/need has put beside what cargo builds.
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_dialtone")).ancestors().nth(2).unwrap();
    target.join("test-python/bin/python")
}
