//! Audio as a file that a person can listen to.

use std::io::Cursor;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use crate::doubles::tones::SAMPLE_RATE_HZ;

/// 16-bit little-endian mono PCM at 16 kHz as a WAV file.
///
/// # Errors
/// When there is more than a WAV file can hold.
pub fn wav(pcm: &[u8]) -> Result<Vec<u8>, hound::Error> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE_HZ,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut file = Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut file, spec)?;
    for pair in pcm.chunks_exact(2) {
        writer.write_sample(i16::from_le_bytes([pair[0], pair[1]]))?;
    }
    writer.finalize()?;
    Ok(file.into_inner())
}

/// The PCM of such a file.
///
/// # Errors
/// When it is no WAV file, or of another kind of audio.
pub fn pcm(file: &[u8]) -> Result<Vec<u8>, hound::Error> {
    let mut reader = WavReader::new(file)?;
    let spec = reader.spec();
    if (spec.channels, spec.sample_rate, spec.bits_per_sample) != (1, SAMPLE_RATE_HZ, 16) {
        return Err(hound::Error::Unsupported);
    }
    let samples: Vec<i16> = reader.samples().collect::<Result<_, _>>()?;
    Ok(samples.into_iter().flat_map(i16::to_le_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::tones;

    #[test]
    fn what_is_written_is_read_again() {
        let spoken = tones::speak("tea");
        let file = wav(&spoken).unwrap();
        assert_eq!(&file[..4], b"RIFF");
        assert_eq!(pcm(&file).unwrap(), spoken);
        assert!(pcm(&file[..20]).is_err());
    }

    #[test]
    fn another_kind_of_audio_is_refused() {
        let spec = WavSpec {
            channels: 2,
            sample_rate: SAMPLE_RATE_HZ,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        let mut file = Cursor::new(Vec::new());
        WavWriter::new(&mut file, spec).unwrap().finalize().unwrap();
        assert!(pcm(file.get_ref()).is_err());
    }
}
